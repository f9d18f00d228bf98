// Cycles of a directed graph, one for each strongly connected component (Tarjan's algorithm).

/**
 * @param {Map<string, readonly string[]>} graph edges by node; edges to nodes that are not keys are ignored
 * @returns {string[][]} for each component with a cycle a path through it that returns to its first node
 */
export function findCycles(graph) {
  /** @type {Map<string, { index: number, low: number, onStack: boolean }>} */
  const states = new Map();
  /** @type {string[]} */
  const stack = [];
  /** @type {string[][]} */
  const components = [];

  const visit = (/** @type {string} */ node) => {
    const state = { index: states.size, low: states.size, onStack: true };
    states.set(node, state);
    stack.push(node);
    for (const next of graph.get(node) ?? []) {
      if (!graph.has(next)) continue;
      const seen = states.get(next);
      if (seen === undefined) state.low = Math.min(state.low, visit(next).low);
      else if (seen.onStack) state.low = Math.min(state.low, seen.index);
    }
    if (state.low === state.index) components.push(popComponent(node));
    return state;
  };
  const popComponent = (/** @type {string} */ first) => {
    const members = stack.splice(stack.indexOf(first));
    for (const member of members) {
      const state = states.get(member);
      if (state !== undefined) state.onStack = false;
    }
    return members;
  };

  for (const node of graph.keys()) if (!states.has(node)) visit(node);
  return components.flatMap((members) => {
    const cycle = shortestCycle(graph, members);
    return cycle === undefined ? [] : [cycle];
  });
}

/** Breadth first from the component's first member back to it. @param {Map<string, readonly string[]>} graph @param {string[]} members */
function shortestCycle(graph, members) {
  const start = members[0];
  if (start === undefined) return undefined;
  const inside = new Set(members);
  /** @type {string[][]} */
  const paths = [[start]];
  const seen = new Set();
  for (const path of paths) {
    for (const next of graph.get(path.at(-1) ?? start) ?? []) {
      if (next === start) return [...path, start];
      if (!inside.has(next) || seen.has(next)) continue;
      seen.add(next);
      paths.push([...path, next]);
    }
  }
  return undefined;
}
