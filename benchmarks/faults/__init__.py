"""What `reliability.py` does to the library: broken and hostile files, a watched process, a disk that refuses."""
