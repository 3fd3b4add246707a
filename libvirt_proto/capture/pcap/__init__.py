"""Packet captures: pcap and pcapng files, link layers, TCP reassembly, TLS by tshark, and the recorder."""
