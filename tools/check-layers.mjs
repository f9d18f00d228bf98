// Fails on an import that goes up the layers, on an undeclared dependency and on an import cycle between files.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import ts from "typescript";
import { findCycles } from "./find-cycles.mjs";
import { workspaceFolders } from "./workspace-folders.mjs";

/** A package imports only from those before it; apps come last and import each other never. The server is an app that the command line starts, so it stands before the others. */
export const layers = ["spec", "packing", "codebook", "sparse", "rope", "quant", "cache", "cpu", "cuda", "model", "eval", "artifacts", "engine", "server"];

/**
 * @typedef {object} Package
 * @property {string} name such as `@kvquant/spec`
 * @property {string} folder absolute
 * @property {number} layer index into `layers`, or `layers.length` for an app
 * @property {Set<string>} dependencies of its published code
 * @property {Set<string>} testDependencies what its tests may import besides
 */

/**
 * Checks every source file of `packages/*` and `apps/*` below `root`.
 * @param {string} root
 * @returns {string[]} one line for each violation; empty when all is well
 */
export function checkLayers(root) {
  const packages = readPackages(root);
  const byName = new Map(packages.map((entry) => [entry.name, entry]));
  const violations = [];
  /** @type {Map<string, string[]>} */
  const graph = new Map();

  for (const owner of packages) {
    if (owner.layer < 0) violations.push(`${relative(root, owner.folder)}: not in the list of layers in tools/check-layers.mjs`);
    for (const name of owner.dependencies) {
      const target = byName.get(name);
      if (target !== undefined && goesUp(owner, target)) violations.push(`${relative(root, owner.folder)}/package.json: depends on ${name}, which is not below it`);
    }
    for (const file of listSources(join(owner.folder, "src"))) {
      const targets = [];
      for (const { specifier, line } of readImports(file)) {
        const where = `${relative(root, file)}:${line}`;
        if (specifier.startsWith(".")) {
          const target = resolveRelative(file, specifier);
          if (!target.startsWith(join(owner.folder, "src") + sep)) violations.push(`${where}: ${specifier} leaves the sources of ${owner.name}`);
          else targets.push(target);
        } else {
          const problem = checkBareImport(owner, specifier, { byName, isTest: isTestFile(file) });
          if (problem !== undefined) violations.push(`${where}: ${problem}`);
        }
      }
      graph.set(file, targets);
    }
  }
  for (const cycle of findCycles(graph)) {
    violations.push(`import cycle: ${cycle.map((file) => relative(root, file)).join(" -> ")}`);
  }
  return violations;
}

/** @param {string} root @returns {Package[]} */
function readPackages(root) {
  const shared = readManifest(root);
  return workspaceFolders(root).map((path) => {
    const [group, name = ""] = path.split("/");
    const manifest = readManifest(join(root, path));
    return {
      name: manifest.name,
      folder: join(root, path),
      layer: group === "apps" && !layers.includes(name) ? layers.length : layers.indexOf(name),
      dependencies: manifest.published,
      testDependencies: new Set([...manifest.development, ...shared.development]),
    };
  });
}

/** @param {string} folder */
function readManifest(folder) {
  const path = join(folder, "package.json");
  const manifest = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
  const { dependencies = {}, peerDependencies = {}, optionalDependencies = {}, devDependencies = {} } = manifest;
  return {
    name: String(manifest.name),
    published: new Set(Object.keys({ ...dependencies, ...peerDependencies, ...optionalDependencies })),
    development: new Set(Object.keys(devDependencies)),
  };
}

/**
 * @param {Package} owner @param {string} specifier
 * @param {{ byName: Map<string, Package>, isTest: boolean }} context
 * @returns {string | undefined}
 */
function checkBareImport(owner, specifier, context) {
  if (isBuiltin(specifier)) return undefined;
  const name = packageName(specifier);
  if (name === owner.name) return `${specifier} imports its own package by name; use a relative path`;
  const target = context.byName.get(name);
  if (target !== undefined && goesUp(owner, target)) return `${specifier} is not below ${owner.name}`;
  if (owner.dependencies.has(name) || (context.isTest && owner.testDependencies.has(name))) return undefined;
  return `${name} is not declared in the package.json of ${owner.name}`;
}

/** @param {Package} owner @param {Package} target */
function goesUp(owner, target) {
  return target.layer >= owner.layer && target !== owner;
}

/** @param {string} specifier */
function packageName(specifier) {
  return specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
}

/** @param {string} file @returns {boolean} true for code that is not published */
function isTestFile(file) {
  return /\.(test|bench|fixture)\.ts$/.test(file) || file.includes(`${sep}fixtures${sep}`);
}

/** @param {string} folder @returns {string[]} TypeScript files below it */
function listSources(folder) {
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return names.filter((name) => /\.[cm]?tsx?$/.test(name) && !name.endsWith(".d.ts")).map((name) => join(folder, name)).sort();
}

/** @param {string} file @param {string} specifier @returns {string} the TypeScript file meant, where there is one */
function resolveRelative(file, specifier) {
  const path = resolve(dirname(file), specifier);
  const candidates = [path, path.replace(/\.([cm]?)js$/, ".$1ts"), path.replace(/\.jsx$/, ".tsx"), `${path}.ts`, join(path, "index.ts")];
  return candidates.find((candidate) => statSync(candidate, { throwIfNoEntry: false })?.isFile() === true) ?? path;
}

/**
 * Imports, re-exports, dynamic imports, type imports and require calls with a literal path.
 * @param {string} file
 * @returns {{ specifier: string, line: number }[]}
 */
function readImports(file) {
  const source = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest, true);
  /** @type {{ specifier: string, line: number }[]} */
  const found = [];
  const visit = (/** @type {ts.Node} */ node) => {
    const literal = importedLiteral(node);
    if (literal !== undefined) found.push({ specifier: literal.text, line: source.getLineAndCharacterOfPosition(literal.getStart()).line + 1 });
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** @param {ts.Node} node @returns {ts.StringLiteralLike | undefined} */
function importedLiteral(node) {
  /** @type {ts.Node | undefined} */
  let candidate;
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) candidate = node.moduleSpecifier;
  else if (ts.isImportTypeNode(node)) candidate = ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined;
  else if (ts.isExternalModuleReference(node)) candidate = node.expression;
  else if (ts.isCallExpression(node)) {
    const called = node.expression;
    const imports = called.kind === ts.SyntaxKind.ImportKeyword || (ts.isIdentifier(called) && called.text === "require");
    if (imports) candidate = node.arguments[0];
  }
  return candidate !== undefined && ts.isStringLiteralLike(candidate) ? candidate : undefined;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const violations = checkLayers(dirname(dirname(fileURLToPath(import.meta.url))));
  for (const violation of violations) process.stdout.write(`${violation}\n`);
  process.exitCode = violations.length > 0 ? 1 : 0;
}
