declare module "node-gyp-build" {
  /** Loads the addon built in or shipped with the package in `folder`. */
  export default function nodeGypBuild(folder: string): unknown;
}
