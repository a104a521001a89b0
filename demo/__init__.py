"""The browser side of the Grad-CAM demo."""
