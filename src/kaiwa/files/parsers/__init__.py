"""What turns documents into text, in a child process of its own.

Each parser is a module with `read(data, extension, most)`: the document, its extension, and how
many bytes it may have when unpacked. Whatever else than our errors it raises means that the
document is broken.
"""
