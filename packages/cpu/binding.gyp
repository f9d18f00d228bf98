{
  # One static library for each instruction set, because gyp has no flags for single files. The sources lie in native/ of the repository, or of this package once published.
  "variables": {
    "native": "<!(node scripts/native-folder.mjs)",
    # -ffp-contract=off: encoders write the same bytes everywhere; kernels name their fused multiply-adds.
    "common_flags": ["-std=c++20", "-O3", "-Wall", "-Wextra", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden", "-pthread"],
    "avx2_flags": ["-mavx2", "-mfma", "-mf16c", "-mbmi2"],
    "avx512_flags": ["-mavx2", "-mfma", "-mf16c", "-mbmi2", "-mavx512f", "-mavx512bw", "-mavx512cd", "-mavx512dq", "-mavx512vl", "-mavx512vbmi", "-mavx512vbmi2", "-mavx512vnni", "-mprefer-vector-width=512", "-mtune=znver3"]
  },
  "target_defaults": {
    "include_dirs": ["<(native)/include", "<(native)"],
    "cflags!": ["-O2"],
    "cflags": ["-fno-omit-frame-pointer"],
    "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-fno-exceptions", "-fno-rtti", "-O2"],
    "cflags_cc": ["<@(common_flags)"],
    "defines": ["NAPI_VERSION=8"],
    "xcode_settings": { "CLANG_CXX_LANGUAGE_STANDARD": "c++20", "GCC_ENABLE_CPP_EXCEPTIONS": "YES", "OTHER_CPLUSPLUSFLAGS": ["<@(common_flags)"], "MACOSX_DEPLOYMENT_TARGET": "11.0" }
  },
  "targets": [
    {
      "target_name": "kvquant_avx2",
      "type": "static_library",
      "sources": ["<!@(node scripts/list-sources.mjs avx2)"],
      "conditions": [["target_arch=='x64'", { "cflags_cc": ["<@(avx2_flags)"], "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["<@(avx2_flags)"] } }]]
    },
    {
      "target_name": "kvquant_avx512",
      "type": "static_library",
      "sources": ["<!@(node scripts/list-sources.mjs avx512)"],
      "conditions": [["target_arch=='x64'", { "cflags_cc": ["<@(avx512_flags)"], "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["<@(avx512_flags)"] } }]]
    },
    {
      "target_name": "kvquant_cpu",
      "dependencies": ["kvquant_avx2", "kvquant_avx512"],
      "sources": ["<!@(node scripts/list-sources.mjs common)"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NODE_ADDON_API_CPP_EXCEPTIONS"],
      "cflags_cc": ["-fexceptions", "-frtti"]
    }
  ]
}
