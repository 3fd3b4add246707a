# comma-behind-last.d:7:19: error: expected a type, got ')'
#       probe a(int x,);
#                     ^
#   hint: remove the ',' after the last argument

provider libvirt {
    probe a(int x,);
};
