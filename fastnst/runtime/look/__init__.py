"""How paintings are laid over the photo: strength, colours, masks. For pictures, films and cameras alike."""
