"""The bus: MQTT 5 over mutual TLS. The only package that imports paho."""
