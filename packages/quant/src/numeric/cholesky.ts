/** Cholesky factor and inverse of small symmetric positive definite matrices, float64. */

/** Lower factor L `[size, size]` with `L L' = matrix`; `undefined` when the matrix is not positive definite. Reads the lower triangle. */
export function choleskyLower(matrix: Float64Array, size: number): Float64Array | undefined {
  const lower = new Float64Array(size * size);
  for (let row = 0; row < size; row++) {
    for (let col = 0; col <= row; col++) {
      let sum = matrix[row * size + col]!;
      for (let k = 0; k < col; k++) sum -= lower[row * size + k]! * lower[col * size + k]!;
      if (row === col) {
        if (!(sum > 0) || !Number.isFinite(sum)) return undefined;
        lower[row * size + row] = Math.sqrt(sum);
      } else {
        lower[row * size + col] = sum / lower[col * size + col]!;
      }
    }
  }
  return lower;
}

/** Inverse `[size, size]` of the matrix whose lower Cholesky factor is given. */
export function inverseFromCholesky(lower: Float64Array, size: number): Float64Array {
  // Columns of inv(L) by forward substitution, then inv(A) = inv(L)' inv(L).
  const inverse = new Float64Array(size * size);
  for (let col = 0; col < size; col++) {
    inverse[col * size + col] = 1 / lower[col * size + col]!;
    for (let row = col + 1; row < size; row++) {
      let sum = 0;
      for (let k = col; k < row; k++) sum -= lower[row * size + k]! * inverse[k * size + col]!;
      inverse[row * size + col] = sum / lower[row * size + row]!;
    }
  }
  const result = new Float64Array(size * size);
  for (let row = 0; row < size; row++) {
    for (let col = 0; col <= row; col++) {
      let sum = 0;
      for (let k = row; k < size; k++) sum += inverse[k * size + row]! * inverse[k * size + col]!;
      result[row * size + col] = sum;
      result[col * size + row] = sum;
    }
  }
  return result;
}
