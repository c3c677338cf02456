"""From pictures to decisions: values, ports and the steps between them. No device, codec or network library."""
