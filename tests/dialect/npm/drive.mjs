// Drives a server with the npm retell-sdk and prints what it saw, as JSON.
// node drive.mjs <origin> <api key> <agent id> <from number>
import { createServer } from "node:http";
import Retell from "retell-sdk";

const [origin, apiKey, agentId, fromNumber] = process.argv.slice(2);
const client = new Retell({ apiKey, baseURL: origin, maxRetries: 0 });

const waiting = new Map();
const once = (name) => new Promise((resolve) => waiting.set(name, resolve));
const receiver = createServer((request, response) => {
  let body = "";
  request.on("data", (data) => (body += data));
  request.on("end", async () => {
    const signature = request.headers["x-retell-signature"];
    const told = JSON.parse(body);
    const verified = await Retell.verify(body, apiKey, signature);
    const forged = await Retell.verify(body + " ", apiKey, signature);
    response.writeHead(204).end();
    waiting.get(told.event)?.({ verified, forged, call: told.call });
  });
});
await new Promise((resolve) => receiver.listen(0, "127.0.0.1", resolve));

const started = once("call_started");
const ended = once("call_ended");
await client.agent.update(agentId, { webhook_url: `http://127.0.0.1:${receiver.address().port}/hook` });
const call = await client.call.createPhoneCall({ from_number: fromNumber, to_number: "+12025550100" });
const call_started = await started;
const stopped = await client.call.stop(call.call_id);
const again = await client.call.stop(call.call_id);
const shown = await client.call.retrieve(call.call_id);
const listed = await client.call.list({
  filter_criteria: { call_id: { type: "string", op: "eq", value: call.call_id } },
});
const call_ended = await ended;
const unknown = await client.call.stop("unknown").catch((error) => ({ status: error.status, message: error.message }));
const empty = await client.call.stop("").catch((error) => ({ status: error.status }));
receiver.close();

console.log(JSON.stringify({ call, call_started, stopped, again, shown, listed, call_ended, unknown, empty }));
process.exit(0);
