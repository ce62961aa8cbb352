// The Runtime API's client for functions in JavaScript: takes events one by one, calls the handler, posts what it gives back.
// The handler is `module.function` in LAMBDA_TASK_ROOT, ES module or CommonJS; it may return, be async, call back, or end by its context.

import { existsSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [, host, port, prefix] = process.env.AWS_LAMBDA_RUNTIME_API.match(/^([^:/]+):(\d+)(.*)$/);
const base = `${prefix}/2018-06-01/runtime`;
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function ask(method, where, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, agent, method, path: base + where, headers }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve({ headers: response.headers, status: response.statusCode, body: Buffer.concat(chunks).toString() }));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

function post(where, value, headers = {}) {
  const body = Buffer.from(JSON.stringify(value === undefined ? null : value));
  return ask("POST", where, body, { "Content-Type": "application/json", "Content-Length": body.length, ...headers });
}

function report(error) {
  const thrown = error instanceof Error;
  return {
    errorType: thrown ? error.name : typeof error,
    errorMessage: thrown ? error.message : String(error),
    trace: thrown && error.stack ? error.stack.split("\n") : [],
  };
}

async function load() {
  const root = process.env.LAMBDA_TASK_ROOT;
  const dot = process.env._HANDLER.lastIndexOf(".");
  const [module, name] = [process.env._HANDLER.slice(0, dot), process.env._HANDLER.slice(dot + 1)];
  const file = [".mjs", ".cjs", ".js"].map((end) => path.join(root, module + end)).find((each) => existsSync(each));
  if (file === undefined) throw Object.assign(new Error(`Cannot find module '${module}'`), { name: "Runtime.ImportModuleError" });
  const loaded = await import(pathToFileURL(file).href);
  const handler = loaded[name] ?? loaded.default?.[name];
  if (typeof handler !== "function") throw Object.assign(new Error(`${process.env._HANDLER} is undefined or not exported`), { name: "Runtime.HandlerNotFound" });
  return handler;
}

// `succeed`, `fail` and `done` are the ways to end of the first Node.js runtimes; AWS's runtimes up to 22 still have them.
function call(handler, event, context) {
  return new Promise((resolve, reject) => {
    let ended = false;
    const done = (error, value) => {
      ended = true;
      if (error) reject(error);
      else resolve(value);
    };
    Object.assign(context, { done, succeed: (value) => done(null, value), fail: (error) => done(error ?? new Error("null")) });
    const given = handler(event, context, done);
    if (ended) return;
    // A handler that returned no promise and has not called back has ended once nothing is left that could still call back.
    if (given !== undefined && typeof given?.then === "function") given.then(resolve, reject);
    else atRest = () => resolve(given);
  });
}

function contextOf(headers) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  return {
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    callbackWaitsForEmptyEventLoop: false,
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  };
}

let atRest = () => {};
process.on("beforeExit", () => atRest());
let handler;
try {
  handler = await load();
} catch (error) {
  console.error(error);
  await post("/init/error", report(error), { "Lambda-Runtime-Function-Error-Type": report(error).errorType });
  process.exit(1);
}
for (;;) {
  const next = await ask("GET", "/invocation/next");
  if (next.status !== 200) process.exit(1);
  const id = next.headers["lambda-runtime-aws-request-id"];
  try {
    const value = await call(handler, JSON.parse(next.body), contextOf(next.headers));
    await post(`/invocation/${id}/response`, value);
  } catch (error) {
    console.error(error);
    await post(`/invocation/${id}/error`, report(error), { "Lambda-Runtime-Function-Error-Type": report(error).errorType });
  }
}
