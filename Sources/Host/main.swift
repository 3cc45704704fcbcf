print("vchost")
