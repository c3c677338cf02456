"""Making a bare machine this van. So far its identity: the key that signs what it says."""
