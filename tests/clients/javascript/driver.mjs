// Carries out one call for each line on standard input, and answers each with a line: AWS's JavaScript SDK as an application
// uses it, told where the server is by the environment alone.
//
//   {"operation": "GetSecretValue", "parameters": {…}, "region": "…"}  →  {"answer": {…}} or {"code": "…", "status": 400}
//   {"paginator": "ListSecrets", "parameters": {…}, "pageSize": 2}     →  {"answer": {"pages": […]}}
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const sdk = createRequire(process.env.SDK_FROM)("@aws-sdk/client-secrets-manager");
const clients = new Map();

function clientOf(region) {
  if (!clients.has(region)) clients.set(region, new sdk.SecretsManagerClient({ region, maxAttempts: 1 }));
  return clients.get(region);
}

async function answerTo(call) {
  const client = clientOf(call.region);
  if (call.paginator) {
    const pages = [];
    const paginate = sdk[`paginate${call.paginator}`];
    for await (const page of paginate({ client, pageSize: call.pageSize }, call.parameters)) pages.push(page);
    return { pages };
  }
  return client.send(new sdk[`${call.operation}Command`](call.parameters));
}

for await (const line of createInterface({ input: process.stdin })) {
  let outcome;
  try {
    outcome = { answer: await answerTo(JSON.parse(line)) };
  } catch (error) {
    outcome = { code: error.name, status: error.$metadata?.httpStatusCode ?? null, message: String(error.message) };
  }
  process.stdout.write(JSON.stringify(outcome) + "\n");
}
