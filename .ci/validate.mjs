// Checks the template with @aws/cloudformation-validate. A warning is a failure.
import { CelEngine, TemplateFile } from "@aws/cloudformation-validate";

const config = {
  severityLevel: "WARN",
  exclude: { ids: ["W3002"] }, // that Code is to be packaged
};
const engine = new CelEngine();
try {
  const report = engine.validateStandard(new TemplateFile(process.argv[2]), config);
  for (const d of report.diagnostics) {
    console.log(`${process.argv[2]}:${d.startLine}: ${d.severity} ${d.ruleId} ${d.message}`);
  }
  if (report.status !== "OK" || report.diagnostics.length > 0) {
    console.log(`the template is not sound: ${report.status}, ${report.diagnostics.length} findings`);
    process.exitCode = 1;
  }
} finally {
  engine.free();
}
