// Hands the ID of each import that lakeFS starts to lakefs_import_exporter: see nginx.conf.

// register is a body filter. It passes lakeFS's answer on as it is, and remembers it until it
// is complete. A detached subrequest runs after the answer has been sent.
function register(r, data, flags) {
    r.sendBuffer(data, flags);
    if (r.method != 'POST' || r.status != 202) {
        return;
    }
    try {
        r.variables.lakefs_import_answer += data.toString();
        if (!flags.last) {
            return;
        }
        const id = JSON.parse(r.variables.lakefs_import_answer).id;
        if (!/^[\w-]{1,128}$/.test(id)) {
            throw new Error('answer has no import ID');
        }
        r.variables.lakefs_import_id = id;
        r.subrequest('/.lakefs_import_exporter', {detached: true, method: 'PUT'});
    } catch (e) {
        r.error('import not registered: ' + e.message);
    }
}

// Seconds to wait before each attempt. An import that starts while the exporter is down for
// longer is not watched.
const delays = [0, 1, 5, 10, 20, 30];

// forward answers at once, so that register's subrequest does not keep the client's connection
// busy, and then sends the request on to the exporter.
async function forward(r) {
    r.status = 204;
    r.sendHeader();
    r.finish();
    for (let i = 0; i < delays.length; i++) {
        await new Promise(resolve => setTimeout(resolve, delays[i] * 1000));
        const reply = await r.subrequest('/exporter' + r.uri, {method: 'PUT'});
        if (reply.status < 300) {
            return;
        }
        r.error('import ' + r.uri + ' not registered: HTTP status ' + reply.status);
        if (reply.status < 500) {
            return;
        }
    }
}

export default {register, forward};
