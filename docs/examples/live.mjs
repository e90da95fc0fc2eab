// Scores raw samples from standard input while they come:  node live.mjs HOST:PORT MODEL [ENCODING] < audio.raw
import { fileURLToPath } from "node:url";
import { randomUUID } from "node:crypto";
import grpc from "@grpc/grpc-js"; // npm install @grpc/grpc-js
import loader from "@grpc/proto-loader"; // comes with it

const MAX_WINDOWS_IN_FLIGHT = 4; // sent and unanswered: the server refuses a stream that runs far ahead of its answers
const STEP_BYTES = 3200; // 0.1 s of int16 at 16 kHz
const [url, model, encoding = "int16"] = process.argv.slice(2);
const proto = loader.loadSync(fileURLToPath(new URL("live.proto", import.meta.url)), { keepCase: true });
const server = new (grpc.loadPackageDefinition(proto).inference.GRPCInferenceService)(url, grpc.credentials.createInsecure());
const fail = (error) => { console.error(error.message); process.exit(1); };
const { config } = await new Promise((done) => server.ModelConfig({ name: `${model}_live` }, (error, answer) => (error ? fail(error) : done(answer))));
const windowBytes = config.parameters.window_samples.string_value * ({ int16: 2, fp32: 4 }[encoding] ?? 0.5); // G.711: 8 kHz, a byte each

const call = server.ModelStreamInfer();
const id = randomUUID();
let [sentBytes, answered, wake] = [0, 0, () => {}];
function send(audio, { start = false, end = false } = {}) {
  const parameters = { sequence_id: { string_param: id }, sequence_start: { bool_param: start }, sequence_end: { bool_param: end } };
  if (start) parameters.encoding = { string_param: encoding };
  const inputs = [{ name: "AUDIO", datatype: "UINT8", shape: [audio.length] }];
  call.write({ model_name: `${model}_live`, parameters, inputs, raw_input_contents: [audio] });
  sentBytes += audio.length;
}
call.on("data", ({ error_message, infer_response: answer }) => {
  if (error_message) return call.destroy(new Error(error_message));
  const output = (name) => answer.raw_output_contents[answer.outputs.findIndex((tensor) => tensor.name === name)];
  const [start, end] = [output("START_S"), output("END_S")].map((bytes) => bytes.readDoubleLE());
  console.log(start.toFixed(2), end.toFixed(2), output("SCORE").readFloatLE().toFixed(6));
  answered += 1;
  wake();
});
call.on("error", fail);
call.on("end", () => process.exit(0));

send(Buffer.alloc(0), { start: true });
for await (const chunk of process.stdin)
  for (let from = 0; from < chunk.length; from += STEP_BYTES) {
    while (Math.floor(sentBytes / windowBytes) - answered >= MAX_WINDOWS_IN_FLIGHT) await new Promise((resolve) => (wake = resolve));
    send(chunk.subarray(from, from + STEP_BYTES));
  }
send(Buffer.alloc(0), { end: true });
call.end();
