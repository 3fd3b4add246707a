# no-probes.d:5:10: error: expected at least one probe in the provider
#   provider libvirt {
#            ^~~~~~~

provider libvirt {
    # prefix: rpc
};
