"""What is in a data set: figures of its boxes and images, odd boxes, bad files and duplicates."""
