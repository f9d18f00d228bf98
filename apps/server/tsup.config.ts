import { packageConfig } from "../../tools/tsup/config.mjs";

export default packageConfig();
