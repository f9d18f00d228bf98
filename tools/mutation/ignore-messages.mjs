// A Stryker plug-in: the wording of error messages is not mutated. Tests look at the code of an error, and that message tells expected, got and remedy is for readers to judge.

/** Functions that throw or describe what they refuse; their other arguments, error codes among them, are mutated. */
const speakers = /^(check[A-Z]?\w*|fail|corrupt|KvquantError|Error)$/;

/** @param {{ isStringLiteral(): boolean, isTemplateLiteral(): boolean, isTemplateElement?(): boolean, node: any, findParent(test: (parent: any) => boolean): unknown }} path */
function shouldIgnore(path) {
  if (!path.isStringLiteral() && !path.isTemplateLiteral()) return undefined;
  if (path.isStringLiteral() && /^[A-Z_]+$/.test(path.node.value)) return undefined;
  const isSpoken = path.findParent((parent) => (parent.isCallExpression() || parent.isNewExpression()) && speakers.test(parent.node.callee.name ?? ""));
  return isSpoken ? "the wording of an error message" : undefined;
}

export const strykerPlugins = [{ kind: "Ignore", name: "error-messages", value: { shouldIgnore } }];
