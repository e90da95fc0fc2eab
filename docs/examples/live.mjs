// Scores raw samples from standard input while they come:  node live.mjs HOST:PORT MODEL [ENCODING] < audio.raw
import { fileURLToPath } from "node:url";
import { randomUUID } from "node:crypto";
import grpc from "@grpc/grpc-js"; // npm install @grpc/grpc-js
import loader from "@grpc/proto-loader"; // comes with it

const [url, model, encoding = "int16"] = process.argv.slice(2);
const proto = loader.loadSync(fileURLToPath(new URL("live.proto", import.meta.url)), { keepCase: true });
const { GRPCInferenceService } = grpc.loadPackageDefinition(proto).inference;
const call = new GRPCInferenceService(url, grpc.credentials.createInsecure()).ModelStreamInfer();
const id = randomUUID();

function send(audio, { start = false, end = false } = {}) {
  const parameters = { sequence_id: { string_param: id }, sequence_start: { bool_param: start }, sequence_end: { bool_param: end } };
  if (start) parameters.encoding = { string_param: encoding };
  const inputs = [{ name: "AUDIO", datatype: "UINT8", shape: [audio.length] }];
  call.write({ model_name: `${model}_live`, parameters, inputs, raw_input_contents: [audio] });
}

call.on("data", ({ error_message, infer_response: answer }) => {
  if (error_message) return call.destroy(new Error(error_message));
  const output = (name) => answer.raw_output_contents[answer.outputs.findIndex((tensor) => tensor.name === name)];
  const [start, end] = [output("START_S"), output("END_S")].map((bytes) => bytes.readDoubleLE());
  console.log(start.toFixed(2), end.toFixed(2), output("SCORE").readFloatLE().toFixed(6));
});
call.on("error", (error) => { console.error(error.message); process.exit(1); });
call.on("end", () => process.exit(0));

send(Buffer.alloc(0), { start: true });
for await (const chunk of process.stdin) send(chunk);
send(Buffer.alloc(0), { end: true });
call.end();
