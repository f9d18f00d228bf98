import { packageConfig } from "../../tools/tsup/config.mjs";

export default packageConfig({ index: "src/index.ts", lmdb: "src/lmdb/index.ts", valkey: "src/valkey/index.ts", testing: "src/testing/index.ts" });
