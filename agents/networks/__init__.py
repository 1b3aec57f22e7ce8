"""Networks that agents name in their settings, one file each, and the parts that they are made of."""
