"""What passes between office, van and control room: orders, alerts, status, topics. No numpy, no I/O."""
