"""SARIF 2.1.0 as Docker Scout, Trivy, Grype, Snyk, OSV-Scanner, JFrog, Dockle and others write it.

The results are read, not the rules: one rule can stand for several packages. What scanners put only into
sentences (package, version, fix) is read from there; the places are those of Scout's output, Trivy's
``pkg/report/sarif.go``, Grype's ``grype/presenter/sarif``, Snyk's ``open-source-sarif-output.ts``, OSV-Scanner's
``internal/output/sarif.go`` and JFrog's ``sarifparser``.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from imagelab.scans.findings import (
    LONGEST,
    SEVERITIES,
    Report,
    cvss,
    first_match,
    mapping,
    newest_cvss,
    number,
    parse_purl,
    score_severity,
    sequence,
    severity,
    text,
    texts,
)

#: One vulnerability's name in any of the well-known lists; ``_`` joins it to a package in JFrog's rules.
VULNERABILITY_ID = (
    r"(?<![^\W_])(CVE-\d{4}-\d{4,}|GHSA(?:-[^\W_]{4}){3}|(?:PYSEC|GO|RUSTSEC|OSV|MAL|GMS|BDSA)-\d{4}-\d+"
    r"|(?:ALPINE|DEBIAN|UBUNTU)-(?:CVE-\d{4}-)?\d+|XRAY-\d+|SNYK-(?!CC-)[\w-]{1,100}?-\d{4,})(?![^\W_])"
)
#: How scanners say which package is vulnerable. Every repetition is bounded: a message can be made to be slow.
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
#: SARIF's levels, where nothing finer is said (section 3.27.10).
_LEVELS = {"error": "high", "warning": "medium", "note": "low", "none": "negligible"}
_FINDINGS = {"misconfiguration": "misconfiguration", "secret": "secret", "license": "license"}


def read_sarif(document: dict[str, Any]) -> Report:
    """Rows of every run's results; passed, suppressed and absent ones are set aside."""
    report = Report("", "SARIF")
    scanners = []
    for run in report.objects(document.get("runs"), "run"):
        driver = mapping(mapping(run.get("tool")).get("driver"))
        properties = mapping(run.get("properties"))
        name = text(driver.get("name")) or "unknown"
        report.scanner = _scanner(name)
        report.reference = text(properties.get("imageName"))
        scanners.append(report.scanner)
        report.attrs = report.attrs or {
            "scanner_version": text(driver.get("version") or driver.get("semanticVersion")),
            "image_id": text(properties.get("imageID")),
            "digests": texts(properties.get("repoDigests")),
            "tags": texts(properties.get("repoTags")),
        }
        rules = [mapping(rule) for rule in sequence(driver.get("rules"))]
        for extension in sequence(mapping(run.get("tool")).get("extensions")):
            rules += [mapping(rule) for rule in sequence(mapping(extension).get("rules"))]
        by_id = {rule["id"]: rule for rule in reversed(rules) if isinstance(rule.get("id"), str)}
        if run.get("results") is None:  # section 3.14.23
            report.skip("no results: the tool did not scan, or they are in another file", finding="run", id=name)
        if any(mapping(one).get("executionSuccessful") is False for one in sequence(run.get("invocations"))):
            report.skip("the tool says that it failed; there may be more to find", finding="run", id=name)
        for result in report.objects(run.get("results"), "result"):
            _result(report, run, result, _rule(result, rules, by_id), suppressible=not name.startswith("Anchore"))
    report.scanner = " + ".join(dict.fromkeys(scanners)) or "unknown"
    return report


def _scanner(name: str) -> str:
    known = {"scout": "scout", "trivy": "trivy", "grype": "grype", "anchore container": "grype"}
    return next((short for part, short in known.items() if part in name.lower()), name.lower())


def _rule(result: dict[str, Any], rules: list[dict[str, Any]], by_id: dict[str, Any]) -> dict[str, Any]:
    reference = mapping(result.get("rule"))
    name = result.get("ruleId") or reference.get("id")
    if isinstance(name, str) and name in by_id:
        return by_id[name]
    index = result.get("ruleIndex", reference.get("index"))
    return rules[index] if isinstance(index, int) and 0 <= index < len(rules) else {}


def _message(result: dict[str, Any], rule: dict[str, Any]) -> str:
    message = mapping(result.get("message"))
    template = mapping(mapping(rule.get("messageStrings")).get(str(message.get("id")))).get("text")
    for line in (message.get("text"), message.get("markdown"), template):
        if isinstance(line, str):
            for n, argument in enumerate(sequence(message.get("arguments"))[:20]):
                line = line.replace(f"{{{n}}}", text(argument) or "")
            return line
    return ""


def _place(result: dict[str, Any]) -> dict[str, Any]:
    """The first physicalLocation."""
    return mapping(mapping(next(iter(sequence(result.get("locations"))), None)).get("physicalLocation"))


def _path(run: dict[str, Any], result: dict[str, Any]) -> str | None:
    artifact = mapping(_place(result).get("artifactLocation"))
    index, known = artifact.get("index"), sequence(run.get("artifacts"))
    if "uri" not in artifact and isinstance(index, int) and 0 <= index < len(known):
        artifact = mapping(mapping(known[index]).get("location"))
    return text(unquote(text(artifact.get("uri")) or "").removeprefix("file://"))


def _result(
    report: Report, run: dict[str, Any], result: dict[str, Any], rule: dict[str, Any], suppressible: bool
) -> None:
    properties, help_texts = mapping(rule.get("properties")), mapping(rule.get("help"))
    help_text, message = help_texts.get("text"), _message(result, rule)
    rule_id = text(result.get("ruleId")) or text(mapping(result.get("rule")).get("id")) or text(rule.get("id"))
    rule_name, tags = (text(rule.get("name")) or "").lower(), texts(properties.get("tags"))
    package, version, kind, sentence = _package(rule, message, help_text)
    if distribution := next((tag for tag in tags if sentence and tag in ("apk", "deb", "rpm")), None):
        package, kind = (package or "").rpartition("/")[2], distribution  # Snyk: source/binary
    # Grype's and JFrog's rule ids add the package to the vulnerability's.
    known = [rule_id or message[:LONGEST], *texts(rule.get("deprecatedIds")), sentence]
    names = re.findall(VULNERABILITY_ID, "\n".join(known), re.I)
    finding = next((kind for word, kind in _FINDINGS.items() if word in rule_name or word in tags), None)
    vulnerable = names or sentence or "vulnerability" in rule_name
    finding = finding or ("vulnerability" if vulnerable else "misconfiguration")
    why = _set_aside(result, suppressible)
    if why:
        report.skip(why, finding=finding, id=rule_id, title=message)
        return
    purls = texts([properties.get("purl"), *sequence(properties.get("purls"))])
    purl = first_match(r"^[ \t]*Package\s*:\s*(pkg:\S+)", message) or next(
        (one for one in purls if (parsed := parse_purl(one)) and (len(purls) == 1 or parsed.version == version)), None
    )
    parsed = parse_purl(purl)
    score = number(properties.get("security-severity"))
    said = (
        first_match(r"^[ \t]*Severity\s*:\s*(\w+)", message, help_text)
        or first_match(r"^A (\w+) vulnerability in", message)
        or first_match(r"^(\w+) severity - ", mapping(rule.get("shortDescription")).get("text"))  # Snyk
        or text(properties.get("cvssV3_severity"))
        or next((tag for tag in tags if tag.isupper() and tag.lower() in SEVERITIES), None)  # Trivy
    )
    level = result.get("level") or mapping(rule.get("defaultConfiguration")).get("level") or "warning"
    if said:
        word, source = severity(said), None
    elif score is not None:
        word, source = score_severity(score), "security-severity"
    else:
        word, source = _LEVELS.get(str(level), "unknown"), "level"
    measured = newest_cvss(
        [
            cvss(first_match(r"^[ \t]*CVSS Vector\s*:\s*(\S+)", message), properties.get("cvssV3")),
            *(cvss(properties.get(f"cvssV{n}_vector"), properties.get(f"cvssV{n}")) for n in (3, 4)),
            *(cvss(properties.get(f"cvssv{n}_vector"), properties.get(f"cvssv{n}_baseScore")) for n in (3, 40)),
            cvss(properties.get("cvssv2_vector"), properties.get("cvssv2_score")),
        ]
    )
    if measured["cvss_score"] is None and finding == "vulnerability" and report.scanner != "trivy":
        measured["cvss_score"] = score  # Trivy's is a stand-in for its severity
    fixed = (
        first_match(r"^[ \t]*Fix(?:ed)? Version\s*:[ \t]*([^\n]+)", message, help_text)
        or text(properties.get("fixed_version"))
        or text(mapping(result.get("properties")).get("fixedVersion"))  # JFrog
        or first_match(r"^Upgrade (?:`[^`]{1,200}` ){1,2}to version (.{1,500}?) or higher", help_texts.get("markdown"))
    )
    fixed = None if fixed and fixed.lower() in ("not fixed", "none", "no fix available") else fixed
    location, start = _path(run, result), mapping(_place(result).get("region")).get("startLine")
    if finding == "license":  # Trivy's rule is package:license, its location the kind of licenses
        rule_id = rule_id and rule_id.removeprefix(f"{package or ''}:")
        location = first_match(r"^[ \t]*Path\s*:[ \t]*(\S[^\n]*)", message)
    elif location and finding != "vulnerability" and isinstance(start, int):
        location = f"{location}:{start}"
    report.add(
        finding,
        names[0] if finding == "vulnerability" and names else rule_id and rule_id.removesuffix(f"-{package}"),
        aliases=names[1:],
        reference=report.reference or first_match(r"was found in image (.+?) at: ", message),
        package=(parsed.name if parsed and not package else package),
        version=(parsed.version if parsed and not version else version),
        purl=purl,
        type=kind or (parsed.type if parsed else None),
        path=location,
        fixed_version=fixed,
        severity=word,
        severity_source=source,
        epss=first_match(r"^[ \t]*EPSS Score\s*:\s*([\d.]+)", message),
        title=_title(finding, rule, message),
        url=rule.get("helpUri"),
        **measured,
    )


def _package(rule: dict[str, Any], message: str, help_text: Any) -> tuple[str | None, str | None, str | None, str]:
    """Package, version and type, out of a scanner's sentence (given too), Trivy's lines, or the rule's help."""
    short, full = (str(mapping(rule.get(key)).get("text"))[:2500] for key in ("shortDescription", "fullDescription"))
    for pattern in _SENTENCES:
        for line in (short, f"{message[:2000]}\n{full}"):
            if found := pattern.search(line):
                kind = found.groupdict().get("type")
                return found["package"], found["version"], kind, found[0]
    package = first_match(r"^[ \t]*(?:Package|PkgName)\s*:[ \t]*([^\n]+)", message, help_text)
    if package and package.startswith("pkg:"):
        package = None
    version = first_match(r"^[ \t]*(?:Installed )?Version\s*:[ \t]*([^\n]+)", message, help_text)
    return package, version, first_match(r"^Type\s*:[ \t]*([^\n]+)", message, help_text), ""


def _title(finding: str, rule: dict[str, Any], message: str) -> str | None:
    short = text(mapping(rule.get("shortDescription")).get("text"))
    if finding == "misconfiguration" and message:
        found = first_match(r"^Message\s*:\s*([^\n]+)", message) or message
        return f"{short}: {found}" if short and short != found else found
    return short or text(mapping(rule.get("fullDescription")).get("text")) or message


def _set_aside(result: dict[str, Any], suppressible: bool) -> str | None:
    """Why a result is no finding of this run (SARIF 3.27.9, 3.27.23, 3.27.24), or None."""
    kind = result.get("kind", "fail")
    if kind in ("pass", "notApplicable", "informational"):
        return f"SARIF kind: {kind}"
    if result.get("baselineState") == "absent":
        return "absent from this run (SARIF baseline)"
    suppressions = [mapping(one) for one in sequence(result.get("suppressions"))]
    # Grype's first SARIF marked every result as suppressed.
    if suppressible and suppressions and all(one.get("status", "accepted") == "accepted" for one in suppressions):
        return "suppressed: " + (text(suppressions[0].get("justification")) or text(suppressions[0].get("kind")) or "")
    return None
