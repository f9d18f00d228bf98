/** Builds small ONNX graphs in memory: nodes, constants, inputs and outputs, serialised by onnx-buf. */

import { create, toBinary } from "@bufbuild/protobuf";
import {
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProtoSchema,
  TensorShapeProtoSchema,
  TensorShapeProto_DimensionSchema,
  TypeProtoSchema,
  TypeProto_TensorSchema,
  ValueInfoProtoSchema,
} from "onnx-buf";
import type { GraphProto, NodeProto, TensorProto, ValueInfoProto } from "onnx-buf";

const FLOAT = 1;
const INT64 = 7;
const ATTRIBUTE_FLOAT = 1;
const ATTRIBUTE_INT = 2;
const ATTRIBUTE_INTS = 7;
/** Operator set of the default domain, and onnxruntime's own domain. */
const OPSET = 21n;
const MICROSOFT = "com.microsoft";

/** Numbers become float attributes, bigints integer attributes. */
export type Attributes = Readonly<Record<string, number | bigint | readonly bigint[]>>;

/** A dimension: a size, or a name for one that varies between runs. */
export type Dimension = number | string;

/** Collects nodes by name; every method returns the name of the value it made. */
export class GraphBuilder {
  readonly #nodes: NodeProto[] = [];
  readonly #constants: TensorProto[] = [];
  readonly #inputs: ValueInfoProto[] = [];
  readonly #outputs: ValueInfoProto[] = [];
  #count = 0;

  /** Declares a float input. */
  input(name: string, dimensions: readonly Dimension[]): string {
    this.#inputs.push(floatValue(name, dimensions));
    return name;
  }

  /** Names a value as a float output; the value keeps its other uses. */
  output(value: string, name: string, dimensions: readonly Dimension[]): void {
    this.#nodes.push(nodeOf("Identity", [value], [name], {}, ""));
    this.#outputs.push(floatValue(name, dimensions));
  }

  /** A constant of floats. */
  floats(values: readonly number[]): string {
    return this.#constant(FLOAT, [values.length], new Uint8Array(Float32Array.from(values).buffer));
  }

  /** A constant of 64-bit integers, for shapes, axes and splits. */
  integers(values: readonly number[]): string {
    return this.#constant(INT64, [values.length], new Uint8Array(BigInt64Array.from(values.map(BigInt)).buffer));
  }

  /** A node of the default domain with one output. */
  node(operator: string, inputs: readonly string[], attributes: Attributes = {}): string {
    return this.#add(operator, inputs, attributes, "");
  }

  /** `x w'`, plus the bias if there is one, for a weight `[out, in]`. */
  linear(x: string, weight: string, bias?: string): string {
    return this.node("Gemm", bias === undefined ? [x, weight] : [x, weight, bias], { transB: 1n });
  }

  /** `x * sigmoid(x)`, in one pass. */
  swish(x: string): string {
    return this.#add("QuickGelu", [x], { alpha: 1 }, MICROSOFT);
  }

  /** `alpha * op(a) op(b)` where either operand may be transposed in its last two axes. */
  product(a: string, b: string, options: { transposeA?: boolean; transposeB?: boolean; alpha?: number } = {}): string {
    const attributes = { transA: options.transposeA ? 1n : 0n, transB: options.transposeB ? 1n : 0n, alpha: options.alpha ?? 1 };
    return this.#add("FusedMatMul", [a, b], attributes, MICROSOFT);
  }

  /** The serialised model. */
  build(): Uint8Array {
    const graph: GraphProto = create(GraphProtoSchema, {
      name: "kvquant",
      node: this.#nodes,
      initializer: this.#constants,
      input: this.#inputs,
      output: this.#outputs,
    });
    const opsetImport = [
      create(OperatorSetIdProtoSchema, { domain: "", version: OPSET }),
      create(OperatorSetIdProtoSchema, { domain: MICROSOFT, version: 1n }),
    ];
    return toBinary(ModelProtoSchema, create(ModelProtoSchema, { irVersion: 10n, producerName: "kvquant", opsetImport, graph }));
  }

  #add(operator: string, inputs: readonly string[], attributes: Attributes, domain: string): string {
    const name = `${operator}_${this.#count++}`;
    this.#nodes.push(nodeOf(operator, inputs, [name], attributes, domain));
    return name;
  }

  #constant(dataType: number, dimensions: readonly number[], rawData: Uint8Array<ArrayBuffer>): string {
    const name = `constant_${this.#count++}`;
    this.#constants.push(create(TensorProtoSchema, { name, dataType, dims: dimensions.map(BigInt), rawData }));
    return name;
  }
}

function nodeOf(opType: string, input: readonly string[], output: readonly string[], attributes: Attributes, domain: string): NodeProto {
  return create(NodeProtoSchema, {
    opType,
    domain,
    name: output[0]!,
    input: [...input],
    output: [...output],
    attribute: Object.entries(attributes).map(([name, value]) => {
      if (typeof value === "bigint") return create(AttributeProtoSchema, { name, type: ATTRIBUTE_INT, i: value });
      if (typeof value === "number") return create(AttributeProtoSchema, { name, type: ATTRIBUTE_FLOAT, f: value });
      return create(AttributeProtoSchema, { name, type: ATTRIBUTE_INTS, ints: [...value] });
    }),
  });
}

function floatValue(name: string, dimensions: readonly Dimension[]): ValueInfoProto {
  const dim = dimensions.map((dimension) =>
    create(TensorShapeProto_DimensionSchema, {
      value: typeof dimension === "string" ? { case: "dimParam", value: dimension } : { case: "dimValue", value: BigInt(dimension) },
    }),
  );
  const shape = create(TensorShapeProtoSchema, { dim });
  const tensor = create(TypeProto_TensorSchema, { elemType: FLOAT, shape });
  return create(ValueInfoProtoSchema, { name, type: create(TypeProtoSchema, { value: { case: "tensorType", value: tensor } }) });
}
