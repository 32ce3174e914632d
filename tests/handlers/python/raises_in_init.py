print("about to fail")
raise RuntimeError("no luck")
