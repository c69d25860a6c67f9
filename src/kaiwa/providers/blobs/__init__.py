"""Where the bytes of files lie: a folder, or a store in the cloud."""
