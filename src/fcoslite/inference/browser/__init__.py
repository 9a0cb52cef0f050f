"""`webcam --browser`: a page that has the camera, the screen and the controls, where the machine has neither."""
