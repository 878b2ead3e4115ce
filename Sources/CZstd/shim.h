// The one place where libzstd's C header enters the build; only MeshGateway imports this module.
#include <zstd.h>
