// Learns which tumours are malignant: logistic regression by gradient descent, without a package.
const fs = require("fs");

const read = (path) => {
  const [head, ...lines] = fs.readFileSync(path, "utf8").trim().split("\n").map((line) => line.split(","));
  return { names: head, rows: lines };
};
const sigmoid = (z) => 1 / (1 + Math.exp(-z));

function fit(inputs, targets, { rounds, rate, decay }) {
  const columns = inputs[0].map((_, j) => inputs.map((row) => row[j]));
  const mean = columns.map((column) => column.reduce((a, b) => a + b) / column.length);
  const scale = columns.map((column, j) => Math.sqrt(column.reduce((a, b) => a + (b - mean[j]) ** 2, 0) / column.length));
  const scaled = inputs.map((row) => row.map((value, j) => (value - mean[j]) / scale[j]));
  const weights = mean.map(() => 0);
  let bias = 0;
  for (let round = 0; round < rounds; round++) {
    const slope = weights.map((weight) => decay * weight);
    let lift = 0;
    scaled.forEach((row, i) => {
      const error = (score({ weights, bias }, row) - targets[i]) / scaled.length;
      row.forEach((value, j) => (slope[j] += error * value));
      lift += error;
    });
    slope.forEach((value, j) => (weights[j] -= rate * value));
    bias -= rate * lift;
  }
  return { mean, scale, weights, bias };
}

function score({ mean, scale, weights, bias }, row) {
  return sigmoid(row.reduce((sum, value, j) => sum + weights[j] * (mean ? (value - mean[j]) / scale[j] : value), bias));
}

const { names, rows } = read("data.csv");
const target = names.indexOf("malignant");
const inputs = rows.map((row) => row.filter((_, j) => j !== target).map(Number));
const targets = rows.map((row) => Number(row[target]));
const held = (i) => i % 3 === 0; // every third row judges
const settings = { rounds: 300, rate: 0.5, decay: 0.001 };
const model = fit(inputs.filter((_, i) => !held(i)), targets.filter((_, i) => !held(i)), settings);
fs.writeFileSync("model.json", JSON.stringify(model));
const tested = inputs.map((row, i) => [i, targets[i], score(model, row)]).filter(([i]) => held(i));
const right = tested.filter(([, truth, said]) => (said > 0.5) === (truth === 1)).length;
console.log(`accuracy ${(right / tested.length).toFixed(3)} on ${tested.length} rows`);
