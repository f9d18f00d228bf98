import { packageConfig } from "../../tools/tsup/config.mjs";

export default packageConfig({ index: "src/index.ts", main: "src/main.ts", "evaluate-worker": "src/parallel/evaluate-worker.ts", "suite-worker": "src/parallel/suite-worker.ts" });
