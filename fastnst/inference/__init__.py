"""From a frame to the stylized frame: `pipeline` paints, `effects` says how; `batch` stylizes many picture files.

`StylePipeline` owns the networks and all that happens between a photo and its stylized form. `stylize`, `video`,
`webcam` and the public `Stylizer` read, call it and write. Below it, a `StyleSession` is one open network.
Never imports torch.

May import `io`, `batch`, `backends`, `tiling`.
"""
