"""Files that are whole or not there, locks, folders that appear at once, space on the disk, arrays in files."""
