# line-comment.d:6:1: error: unexpected '/': it has no meaning in a provider file
#   // a comment of C++
#   ^
#   hint: write comments as '# …' or '/* … */'

// a comment of C++
provider libvirt {
    probe a(int x);
};
