import { packageConfig } from "../../tools/tsup/config.mjs";

export default packageConfig({ index: "src/index.ts", files: "src/files/index.ts" });
