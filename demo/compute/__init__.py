"""Where explanations are computed: in this process, on a ZeroGPU Space, or by Ray Serve."""
