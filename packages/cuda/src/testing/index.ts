/** For tests of this repository, and not published: a driver of the project's own, and kernels that it runs on the CPU. */

export { emulatedKernels } from "../fixtures/emulated-kernels.js";
export { addonIsBuilt, createFakeDriver } from "../fixtures/fake-driver.js";
export type { FakeCounts, FakeDriver } from "../fixtures/fake-driver.js";
