// Puts counters into a bundle: one for each function, branch, loop body and right side of a logical operator; and lets every comparison be seen.
import ts from "typescript";

/** Where the instrumented code finds its counters and comparisons; see `coverage.mjs`. */
export const hooksName = "kvquantFuzzHooks";

/** Comparisons and the hook that makes each of them. */
const comparisons = new Map([
  [ts.SyntaxKind.EqualsEqualsEqualsToken, "same"],
  [ts.SyntaxKind.ExclamationEqualsEqualsToken, "differs"],
  [ts.SyntaxKind.EqualsEqualsToken, "equals"],
  [ts.SyntaxKind.ExclamationEqualsToken, "unequal"],
  [ts.SyntaxKind.LessThanToken, "below"],
  [ts.SyntaxKind.LessThanEqualsToken, "atMost"],
  [ts.SyntaxKind.GreaterThanToken, "above"],
  [ts.SyntaxKind.GreaterThanEqualsToken, "atLeast"],
]);
const logical = new Set([ts.SyntaxKind.AmpersandAmpersandToken, ts.SyntaxKind.BarBarToken, ts.SyntaxKind.QuestionQuestionToken]);

/**
 * The same program with counters.
 * @param {string} text an ES module
 * @returns {{ text: string, counters: number }}
 */
export function instrument(text) {
  const file = ts.createSourceFile("bundle.mjs", text, ts.ScriptTarget.Latest, true, ts.ScriptKind.JS);
  let counters = 0;
  const count = () => `$k[${counters++}]++`;
  /** Comments before the node stay before it. @param {ts.Node} node @param {string} source @param {(inner: string) => string} wrap */
  const around = (node, source, wrap) => {
    const start = node.getStart(file) - node.pos;
    return `${source.slice(0, start)}${wrap(source.slice(start))}`;
  };
  /** @param {ts.Node} node @returns {string} */
  const emit = (node) => {
    let out = "";
    let at = node.pos;
    ts.forEachChild(node, (child) => {
      out += text.slice(at, child.pos) + place(child, node);
      at = child.end;
    });
    return out + text.slice(at, node.end);
  };
  /** @param {ts.Node} node @param {ts.Node} parent @returns {string} */
  const place = (node, parent) => {
    let source = ts.isBinaryExpression(node) ? emitBinary(node) : emit(node);
    // Going past a check is a place of its own.
    if (ts.isIfStatement(node) && node.elseStatement === undefined) source += ` else {${count()};}`;
    if (ts.isBlock(node)) {
      const open = node.getStart(file) - node.pos;
      return `${source.slice(0, open + 1)}${count()};${source.slice(open + 1)}`;
    }
    if (ts.isArrowFunction(parent) && node === parent.body) return around(node, source, (inner) => `(${count()},${inner})`);
    if (ts.isConditionalExpression(parent) && (node === parent.whenTrue || node === parent.whenFalse)) return around(node, source, (inner) => `(${count()},${inner})`);
    if (isBody(node, parent)) return around(node, source, (inner) => `{${count()};${inner}\n}`);
    if ((ts.isCaseClause(parent) || ts.isDefaultClause(parent)) && node === parent.statements[0]) return around(node, source, (inner) => `${count()};${inner}`);
    return source;
  };
  /** @param {ts.BinaryExpression} node */
  const emitBinary = (node) => {
    const left = place(node.left, node);
    const right = place(node.right, node);
    const between = text.slice(node.left.end, node.right.pos);
    const kind = node.operatorToken.kind;
    if (logical.has(kind)) return `${left}${between}${around(node.right, right, (inner) => `(${count()},${inner})`)}`;
    const hook = comparisons.get(kind);
    if (hook === undefined || tellsNothing(node.left) || tellsNothing(node.right)) return `${left}${between}${right}`;
    return `${around(node.left, left, (inner) => `$e.${hook}(${inner}`)},${right})`;
  };
  const body = emit(file);
  return { text: `const { counters: $k, compare: $e } = globalThis.${hooksName};\n${body}`, counters };
}

/** Statements without braces. @param {ts.Node} node @param {ts.Node} parent */
function isBody(node, parent) {
  if (ts.isIfStatement(parent)) return node === parent.thenStatement || node === parent.elseStatement;
  return ts.isIterationStatement(parent, false) && node === parent.statement;
}

/** Types and absence are no bytes of an input. @param {ts.Node} node */
function tellsNothing(node) {
  return ts.isTypeOfExpression(node) || ts.isVoidExpression(node) || node.kind === ts.SyntaxKind.NullKeyword || (ts.isIdentifier(node) && node.text === "undefined");
}
