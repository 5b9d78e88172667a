// The API as an app uses it: JSON, a bearer token that is renewed once when it has run out, and
// problem details as errors.

export class Problem extends Error {
  constructor(document) {
    super(document.detail ?? "The service gave no reason.");
    this.status = document.status;
    this.code = document.code;
    this.requestId = document.request_id;
  }
}

const OFFLINE = {status: 0, code: "offline", detail: "The API does not answer: is it running?"};

async function call(method, path, {token, body} = {}) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {method, headers, body: body && JSON.stringify(body)});
  } catch {
    throw new Problem(OFFLINE);
  }
  const text = await response.text();
  if (response.ok) return text ? JSON.parse(text) : null;
  const told = response.headers.get("Content-Type")?.startsWith("application/problem+json");
  throw new Problem(told ? JSON.parse(text)
                         : {status: response.status, detail: `The API answered ${response.status}.`});
}

export const listeners = () => call("GET", "demo/listeners");
export const friendsOf = (id) => call("GET", `demo/listeners/${id}/friends`);

/** Somebody of the sandbox, with a token that is fetched when it is first needed. */
export class Person {
  #token = null;

  constructor(row) {
    Object.assign(this, row);
  }

  async token({fresh = false} = {}) {
    if (fresh || !this.#token) {
      this.#token = call("POST", "demo/tokens", {body: {user_id: this.id}}).then((a) => a.token);
      this.#token.catch(() => (this.#token = null));
    }
    return this.#token;
  }

  async #ask(method, path, body) {
    try {
      return await call(method, path, {token: await this.token(), body});
    } catch (problem) {
      if (problem.status !== 401) throw problem;
      return call(method, path, {token: await this.token({fresh: true}), body});
    }
  }

  list(kind, limit) {
    const path = kind === "feed" ? "feed" : `recommendations/${kind}`;
    return this.#ask("GET", `${path}?limit=${limit}`);
  }

  dismiss(id, kind) {
    return this.#ask("POST", `recommendations/${id}/dismissals`, {kind});
  }

  undo(id) {
    return this.#ask("DELETE", `recommendations/${id}/dismissals`);
  }

  links() {
    return this.#ask("GET", "links");
  }

  link(provider) {
    return this.#ask("POST", `links/${provider}`);
  }

  unlink(provider, imports = false) {
    return this.#ask("DELETE", `links/${provider}?delete_imports=${imports}`);
  }

  exportData() {
    return this.#ask("POST", "privacy/export-data");
  }

  job(id) {
    return this.#ask("GET", `privacy/jobs/${id}`);
  }

  /** Asks for a sign-in of the last minutes, which a new token of the sandbox is. */
  async deleteData(scope) {
    await this.token({fresh: true});
    return this.#ask("POST", "privacy/delete-imports", {scope});
  }

  explain(id) {
    return this.#ask("GET", `recommendations/${id}/explanation`);
  }
}
