// The one place where libsodium's C headers enter the build; only MeshCrypto imports this module.
#include <sodium.h>
