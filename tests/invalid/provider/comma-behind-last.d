# comma-behind-last.d:7:19: error: expected a type, found ')'
#       probe a(int x,);
#                     ^
#   hint: the last argument has no ',' behind it

provider libvirt {
    probe a(int x,);
};
