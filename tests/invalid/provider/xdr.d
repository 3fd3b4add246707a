# xdr.d:5:1: error: expected 'provider', got 'const'
#   const REMOTE_STRING_MAX = 4194304;
#   ^~~~~

const REMOTE_STRING_MAX = 4194304;
