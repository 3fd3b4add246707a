# several.d:13:17: error: unexpected '5': it has no meaning in a provider file
#       probe a(int 5);
#                   ^
# several.d:14:18: error: expected ',' or ')', got ';'
#       probe b(int x;
#                    ^
# several.d:17:16: error: expected a type or '*', got ')'
#       probe e(int);
#                  ^
#   hint: write a type and a name, which becomes the tapset's variable

provider libvirt {
    probe a(int 5);
    probe b(int x;
    /* probe c(7); */
    probe d();
    probe e(int);
}
