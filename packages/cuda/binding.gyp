{
  # The driver is opened at run time, so nothing of CUDA is needed to build. The sources lie in native/ of the repository, or of this package once published.
  "variables": {
    "native": "<!(node scripts/native-folder.mjs)",
    "common_flags": ["-std=c++20", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden", "-pthread"]
  },
  "targets": [
    {
      "target_name": "kvquant_cuda",
      "sources": ["<!@(node scripts/list-sources.mjs)"],
      "include_dirs": ["<(native)/include", "<(native)", "<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_CPP_EXCEPTIONS", "KVQ_CUDA_INTERFACE=<!(node scripts/interface-hash.mjs)"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-fno-exceptions", "-fno-rtti"],
      "cflags_cc": ["<@(common_flags)", "-fexceptions", "-frtti"],
      "libraries": ["-ldl"],
      "xcode_settings": { "CLANG_CXX_LANGUAGE_STANDARD": "c++20", "GCC_ENABLE_CPP_EXCEPTIONS": "YES", "OTHER_CPLUSPLUSFLAGS": ["<@(common_flags)"], "MACOSX_DEPLOYMENT_TARGET": "11.0" }
    }
  ]
}
