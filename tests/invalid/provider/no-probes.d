# no-probes.d:5:10: error: this provider has no probe
#   provider libvirt {
#            ^~~~~~~

provider libvirt {
    # prefix: rpc
};
