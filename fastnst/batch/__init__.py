"""Many files: who does which, what is done and what is left, here, in shards of a cluster, or over Ray.

Knows nothing of pictures or films: `inference.batch` and `video.batch` say what to do with one of them.

May import `io`.
"""
