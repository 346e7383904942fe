"""Read SARIF 2.1.0 as Docker Scout, Trivy, Grype, Snyk, OSV-Scanner, JFrog, Dockle and others write it.

A row is a result, not a rule: one rule can cover several packages. Some scanners write package, version and fix
only in sentences, which are parsed; the forms are those of Scout's output, Trivy's
``pkg/report/sarif.go``, Grype's ``grype/presenter/sarif``, Snyk's ``open-source-sarif-output.ts``, OSV-Scanner's
``internal/output/sarif.go`` and JFrog's ``sarifparser``.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from imagelab.core.json_fields import (
    LONGEST,
    Object,
    first,
    first_match,
    mapping,
    mappings,
    number,
    sequence,
    text,
    texts,
)
from imagelab.core.terms import SEVERITIES
from imagelab.security.scans.fields import at_line, parse_purl
from imagelab.security.scans.findings import (
    VULNERABILITY_ID,
    ScanReport,
    cvss,
    level_severity,
    newest_cvss,
    score_severity,
    severity,
)

#: Sentences that name the vulnerable package. Every repetition is bounded, because a hostile message could be slow.
_SENTENCES = [
    re.compile(pattern)
    for pattern in (
        # Grype's today, and its first
        r"vulnerability in (?P<type>.{1,60}?) package: (?P<package>.{1,200}?), version (?P<version>.{1,200}?) was found",
        r"reports (?P<package>.{1,200}?) at version (?P<version>.{1,200}?)\s+which .{0,200}?"
        r"vulnerable \((?P<type>.{1,60}?)\) package",
        # OSV-Scanner, JFrog Xray, Snyk
        r"^Package '(?P<package>[^']{1,200})@(?P<version>[^'@]{1,200})' is vulnerable to",
        r"^(?:Security Violation )?\[(?:CVE|XRAY)-[^\]]{1,500}\] (?P<package>\S{1,200}) (?P<version>\S{1,200})",
        r"introduces a vulnerable .{1,200}? package with .{1,40}? vulnerability\.\n"
        r"(?:\(CVE-[^)]{1,2000}\) )?(?P<package>\S{1,200})@(?P<version>[^\s@]{1,200})$",
    )
]
#: Tools whose results are secrets; some of their SARIF files do not name a rule.
_SECRET_SCANNERS = ("gitleaks", "trufflehog", "detect-secrets")


def read_sarif(document: Object) -> ScanReport:
    """Read every run's results; passed, suppressed and absent ones are suppressed rows."""
    report = ScanReport("", "SARIF")
    scanners = []
    for run in report.objects(document.get("runs"), "runs"):
        driver = mapping(run, "tool", "driver")
        name = text(driver.get("name")) or "unknown"
        report.scanner, report.reference = _scanner(name), text(mapping(run, "properties").get("imageName"))
        scanners.append(report.scanner)
        if not report.attrs:
            report.describe("sarif-run", run)
        components = [driver, *mappings(mapping(run, "tool").get("extensions"))]
        rules = [rule for component in components for rule in mappings(component.get("rules"))]
        by_id = {rule["id"]: rule for rule in reversed(rules) if isinstance(rule.get("id"), str)}
        # section 3.14.23
        if run.get("results") is None or mapping(run, "externalPropertyFileReferences").get("results"):
            report.error("no-results", f"{name} wrote no results: it did not scan, or they are in another file")
        for entry in mappings(run.get("invocations")):
            kinds = ("toolExecutionNotifications", "toolConfigurationNotifications")
            notes = [note for kind in kinds for note in mappings(entry.get(kind))]
            if entry.get("executionSuccessful") is False or any(note.get("level") == "error" for note in notes):
                report.error("scan-failed", f"{name} reports that it failed; there may be more to find")
        for result in report.objects(run.get("results"), "results"):
            _result(report, run, result, _rule(result, rules, by_id), suppressible=not name.startswith("Anchore"))
    report.scanner, report.kind = " + ".join(dict.fromkeys(scanners)) or "unknown", "scan" if scanners else "unknown"
    return report


def _scanner(name: str) -> str:
    known = {"scout": "scout", "trivy": "trivy", "grype": "grype", "anchore container": "grype"}
    return next((short for part, short in known.items() if part in name.lower()), name.lower())


def _rule(result: Object, rules: list[Object], by_id: Object) -> Object:
    reference = mapping(result, "rule")
    name = result.get("ruleId") or reference.get("id")
    if isinstance(name, str) and name in by_id:
        return mapping(by_id[name])
    index = result.get("ruleIndex", reference.get("index"))
    return rules[index] if isinstance(index, int) and 0 <= index < len(rules) else {}


def _result(report: ScanReport, run: Object, result: Object, rule: Object, suppressible: bool) -> None:
    properties, tags = mapping(rule, "properties"), texts(mapping(rule, "properties").get("tags"))
    message, help_text = _message(result, rule), mapping(rule, "help").get("text")
    rule_id = text(result.get("ruleId")) or text(mapping(result, "rule").get("id")) or text(rule.get("id"))
    package, version, kind, sentence = _package(rule, tags, message, help_text)
    # Grype's and JFrog's rule ids add the package to the vulnerability's
    known = [rule_id or message[:LONGEST], *texts(rule.get("deprecatedIds")), sentence]
    names = re.findall(VULNERABILITY_ID, "\n".join(known), re.I)
    finding = "secret" if report.scanner in _SECRET_SCANNERS else _finding(rule, tags, bool(names or sentence))
    purls = texts([properties.get("purl"), *sequence(properties.get("purls"))])
    purl = _field("Package", message, value=r"pkg:\S+") or first(
        entry for entry in purls if (parsed := parse_purl(entry)) and (len(purls) == 1 or parsed.version == version)
    )
    parsed = parse_purl(purl)
    score = number(properties.get("security-severity"))
    measured = _measured(properties, message)
    if measured["cvss_score"] is None and finding == "vulnerability" and report.scanner != "trivy":
        measured["cvss_score"] = score  # Trivy derives it from the severity
    word, source = _severity(result, rule, tags, message, score)
    place = mapping(mapping(first(sequence(result.get("locations")))), "physicalLocation")
    path = _path(run, mapping(place, "artifactLocation"))
    if finding == "license":  # Trivy's rule is package:license, its location the kind of licenses
        rule_id, path = rule_id and rule_id.removeprefix(f"{package or ''}:"), _field("Path", message)
    elif finding != "vulnerability":
        path = at_line(path, mapping(place, "region").get("startLine"))
    report.add(
        finding,
        names[0] if finding == "vulnerability" and names else rule_id and rule_id.removesuffix(f"-{package}"),
        aliases=names[1:],
        reference=report.reference or first_match(r"was found in image (.+?) at: ", message),
        package=package or (parsed.name if parsed else None),
        version=version or (parsed.version if parsed else None),
        purl=purl,
        type=kind or (parsed.type if parsed else None),
        path=path,
        fixed_version=_fixed(result, rule, message),
        severity=word,
        severity_source=source,
        epss=_field("EPSS Score", message, value=r"[\d.]+"),
        title=_title(finding, rule, message),
        url=rule.get("helpUri"),
        suppressed=_suppressed(result, suppressible),
        **measured,
    )


def _message(result: Object, rule: Object) -> str:
    message = mapping(result, "message")
    template = mapping(rule, "messageStrings", str(message.get("id"))).get("text")
    known = (message.get("text"), message.get("markdown"), template)
    line = first(entry for entry in known if isinstance(entry, str)) or ""
    for n, argument in enumerate(sequence(message.get("arguments"))[:20]):
        line = line.replace(f"{{{n}}}", text(argument) or "")
    return line


def _field(label: str, *lines: Any, value: str = r"[^\n]+") -> str | None:
    """The value after ``Label:`` in a message or a help text."""
    return first_match(rf"^[ \t]*(?:{label})\s*:[ \t]*({value})", *lines)


def _package(
    rule: Object, tags: list[str], message: str, help_text: Any
) -> tuple[str | None, str | None, str | None, str]:
    """Package, version and type from a scanner's sentence (returned last), Trivy's lines, or the rule's help."""
    short, full = (str(mapping(rule, key).get("text"))[:2500] for key in ("shortDescription", "fullDescription"))
    for pattern in _SENTENCES:
        if found := pattern.search(short) or pattern.search(f"{message[:2000]}\n{full}"):
            package, kind = found["package"], found.groupdict().get("type")
            if distribution := first(tag for tag in tags if tag in ("apk", "deb", "rpm")):
                package, kind = package.rpartition("/")[2], distribution  # Snyk: source/binary
            return package, found["version"], kind, found[0]
    package = _field("Package|PkgName", message, help_text)
    if package and package.startswith("pkg:"):
        package = None
    return package, _field("(?:Installed )?Version", message, help_text), _field("Type", message, help_text), ""


def _finding(rule: Object, tags: list[str], vulnerable: bool) -> str:
    name = (text(rule.get("name")) or "").lower()
    for finding in ("misconfiguration", "secret", "license"):
        if finding in name or finding in tags:
            return finding
    return "vulnerability" if vulnerable or "vulnerability" in name else "misconfiguration"


def _measured(properties: Object, message: str) -> Object:
    """The CVSS in Scout's message, or in the properties that other tools write."""
    return newest_cvss(
        [
            cvss(_field("CVSS Vector", message, value=r"\S+"), properties.get("cvssV3")),
            *(cvss(properties.get(f"cvssV{n}_vector"), properties.get(f"cvssV{n}")) for n in (3, 4)),
            *(cvss(properties.get(f"cvssv{n}_vector"), properties.get(f"cvssv{n}_baseScore")) for n in (3, 40)),
            cvss(properties.get("cvssv2_vector"), properties.get("cvssv2_score")),
        ]
    )


def _severity(
    result: Object, rule: Object, tags: list[str], message: str, score: float | None
) -> tuple[str, str | None]:
    """The scanner's own severity, else that of the score, else that of the level; and the source if it is not its own."""
    own = (
        _field("Severity", message, mapping(rule, "help").get("text"), value=r"\w+")
        or first_match(r"^A (\w+) vulnerability in", message)
        or first_match(r"^(\w+) severity - ", mapping(rule, "shortDescription").get("text"))  # Snyk
        or text(mapping(rule, "properties").get("cvssV3_severity"))
        or first(tag for tag in tags if tag.isupper() and tag.lower() in SEVERITIES)  # Trivy
    )
    if own:
        return severity(own), None
    if score is not None:
        return score_severity(score), "security-severity"
    level = result.get("level") or mapping(rule, "defaultConfiguration").get("level") or "warning"
    return level_severity(level), "level"


def _path(run: Object, artifact: Object) -> str | None:
    index, known = artifact.get("index"), sequence(run.get("artifacts"))
    if "uri" not in artifact and isinstance(index, int) and 0 <= index < len(known):
        artifact = mapping(known[index], "location")
    return text(unquote(text(artifact.get("uri")) or "").removeprefix("file://"))


def _fixed(result: Object, rule: Object, message: str) -> str | None:
    help_texts = mapping(rule, "help")
    fixed = (
        _field("Fix(?:ed)? Version", message, help_texts.get("text"))
        or text(mapping(rule, "properties").get("fixed_version"))
        or text(mapping(result, "properties").get("fixedVersion"))  # JFrog
        or first_match(r"^Upgrade (?:`[^`]{1,200}` ){1,2}to version (.{1,500}?) or higher", help_texts.get("markdown"))
    )
    return None if fixed and fixed.lower() in ("not fixed", "none", "no fix available") else fixed


def _title(finding: str, rule: Object, message: str) -> str | None:
    short = text(mapping(rule, "shortDescription").get("text"))
    if finding == "misconfiguration" and message:
        found = _field("Message", message) or message
        return f"{short}: {found}" if short and short != found else found
    return short or text(mapping(rule, "fullDescription").get("text")) or message


def _suppressed(result: Object, suppressible: bool) -> str | None:
    """Why a result does not count in this run (SARIF 3.27.9, 3.27.23, 3.27.24), or None."""
    kind = result.get("kind", "fail")
    if kind in ("pass", "notApplicable", "informational"):
        return f"SARIF kind: {kind}"
    if result.get("baselineState") == "absent":
        return "absent from this run (SARIF baseline)"
    suppressions = mappings(result.get("suppressions"))
    # Grype's first SARIF marked every result as suppressed
    if suppressible and suppressions and all(entry.get("status", "accepted") == "accepted" for entry in suppressions):
        return "suppressed: " + (text(suppressions[0].get("justification")) or text(suppressions[0].get("kind")) or "")
    return None
